//! Sources and what becomes of them.
