//! EK certificates as swtpm_setup makes them.
