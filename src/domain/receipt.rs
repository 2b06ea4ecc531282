//! What a request cost and did: the record that settlement writes, once, whatever happened.
