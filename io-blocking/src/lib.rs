//! amarula-blocking
