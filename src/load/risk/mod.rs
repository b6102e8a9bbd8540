//! The statistics of the scores in the warehouse: kept, added to, taken out of.
//!
//! A module of its own because a daily load is scored against all history without reading it.
