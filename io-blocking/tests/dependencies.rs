//! No async runtime gets in.

use std::process::Command;

#[test]
fn no_tokio_in_the_tree() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", "amarula-blocking", "-e", "normal", "--prefix", "none", "-f", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(tree.contains("amarula-core"), "{}", String::from_utf8_lossy(&output.stderr));
    for runtime in ["tokio", "async-std", "smol", "futures-executor"] {
        let found = tree
            .lines()
            .find(|line| line.starts_with(&format!("{runtime} ")) || line.starts_with(&format!("{runtime}-")));
        assert_eq!(found, None);
    }
}
