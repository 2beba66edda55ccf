//! amarula
fn main() {}
