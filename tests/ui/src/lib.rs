//! Nothing of its own: the cases are under `cases/`.
