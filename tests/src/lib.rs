//! Harness: real relays on free ports, real clients, and a device that speaks raw frames for hostile cases.
