//! amarula-store
