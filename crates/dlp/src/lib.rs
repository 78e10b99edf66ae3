//! Bytes in, findings out. Pure: it knows no file, no policy and no network.
//!
//! For now it masks command lines: ten credential formats, named by their providers' documentation.
