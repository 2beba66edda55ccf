//! Answers every text with the same text. `cargo run -p amarula-blocking --example echo`, then scan the QR code's text.

use amarula_blocking::store::FileStore;
use amarula_blocking::{Client, Content, Event, Pairing};

fn main() -> Result<(), amarula_blocking::Error> {
    let client = Client::builder("echo").store(FileStore::open_default()?).build()?;
    for delivery in client.connect()? {
        match delivery.event() {
            Event::Message(message) if !message.from_me => {
                if let Content::Text(text) = &message.content {
                    client.send_text(&message.chat, &text.body)?;
                }
            }
            Event::Pairing(Pairing::Qr { text, .. }) => println!("show as QR code: {}", text.0),
            Event::Connection(state) => println!("{state:?}"),
            _ => {}
        }
        delivery.confirm()?;
    }
    Ok(())
}
