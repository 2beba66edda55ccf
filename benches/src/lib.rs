//! amarula-benches
