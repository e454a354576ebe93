//! Read files and environment once, into one plain struct.
