//! What is committed is what the generator makes of its sources. `AMARULA_REGENERATE=1` writes it instead.

use amarula_protogen::{outputs, root};

#[test]
fn committed_files_are_up_to_date() {
    let root = root();
    let regenerate = std::env::var_os("AMARULA_REGENERATE").is_some_and(|value| value == "1");
    let mut stale = Vec::new();
    for output in outputs(&root).unwrap_or_else(|error| panic!("{error}")) {
        let path = root.join(output.path);
        // A checkout may have turned the line ends.
        let committed = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        if committed == output.text {
            continue;
        }
        if regenerate {
            std::fs::create_dir_all(path.parent().expect("the path has a folder")).expect("create the folder");
            std::fs::write(&path, output.text).expect("write the generated file");
        } else {
            stale.push(output.path);
        }
    }
    assert!(stale.is_empty(), "out of date, run again with AMARULA_REGENERATE=1: {stale:?}");
}
