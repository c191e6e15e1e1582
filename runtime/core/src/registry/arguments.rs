//! The arguments of the registry's methods. They are traits of their own, so that the
//! compiler says what to pass instead of what is wrong.

/// A list of names of migrations: `["order@v1->v2"]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of migrations",
    label = "expected a list of `&str`",
    note = "write the names of the migrations in brackets: `require([\"order@v1->v2\"])`"
)]
pub trait MigrationNames<'a> {
    /// The names, one after the other.
    #[doc(hidden)]
    fn into_names(self) -> impl Iterator<Item = &'a str>;
}

#[diagnostic::do_not_recommend]
impl<'a, I: IntoIterator<Item = &'a str>> MigrationNames<'a> for I {
    fn into_names(self) -> impl Iterator<Item = &'a str> {
        self.into_iter()
    }
}

/// A state as JSON: a text, or its bytes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state in JSON",
    label = "expected a text or bytes",
    note = "pass the JSON of the state, as it is stored: `r#\"{{\"euro\":5}}\"#`, or the text that `serde_json::to_string` makes of a state"
)]
pub trait JsonState {
    /// The bytes of the text.
    #[doc(hidden)]
    fn json(&self) -> &[u8];
}

#[diagnostic::do_not_recommend]
impl<T: AsRef<[u8]>> JsonState for T {
    fn json(&self) -> &[u8] {
        self.as_ref()
    }
}
