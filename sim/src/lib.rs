//! amarula-sim
