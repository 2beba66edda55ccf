//! amarula-tokio
