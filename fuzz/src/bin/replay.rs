//! Runs inputs through every fuzz target: the files and folders given, or the committed corpora.

fn main() -> std::io::Result<()> {
    amarula_fuzz::replay_arguments(amarula_fuzz::TARGETS)
}
