"""A double of the providers: every dialect, as strict as the real ones, and a stand with a gateway in front of it."""
