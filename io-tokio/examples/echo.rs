//! Answers every text with the same text. `cargo run -p amarula-tokio --example echo`, then scan the QR code's text.

use amarula_tokio::store::FileStore;
use amarula_tokio::{Client, Content, Event, Pairing};

#[tokio::main]
async fn main() -> Result<(), amarula_tokio::Error> {
    let client = Client::builder("echo").store(FileStore::open_default()?).build()?;
    let mut events = client.connect().await?;
    while let Some(delivery) = events.next().await {
        match delivery.event() {
            Event::Message(message) if !message.from_me => {
                if let Content::Text(text) = &message.content {
                    client.send_text(&message.chat, &text.body).await?;
                }
            }
            Event::Pairing(Pairing::Qr { text, .. }) => println!("show as QR code: {}", text.0),
            Event::Connection(state) => println!("{state:?}"),
            _ => {}
        }
        delivery.confirm().await?;
    }
    Ok(())
}
