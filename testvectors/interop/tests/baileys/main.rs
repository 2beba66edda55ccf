//! Unmodified Baileys and our client, through both drivers, over the simulated server. One module per subject.

mod damage;
mod offline;
mod own_devices;
mod pairing;
mod peers;
mod presence;
mod receipts;
mod texts;
