//! Encode and decode canonical bytes, hash them under a namespace, and never beyond a stated bound.
