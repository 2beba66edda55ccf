//! Writes the seed inputs into `corpus/`.

fn main() -> std::io::Result<()> {
    for (folder, name, bytes) in amarula_fuzz::seeds::all() {
        let folder = amarula_fuzz::corpus().join(folder);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
