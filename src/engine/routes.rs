//! Where each device lives.
