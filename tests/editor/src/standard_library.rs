//! A standard library for the fixture. The sources of the real one are not a part of every
//! toolchain, so `core` is the miniature that rust-analyzer uses in its own tests.

use std::fs;
use std::path::Path;

use ra_ap_test_utils::MiniCore;

use crate::editor::Answer;

/// What the miniature does not have.
const MORE: &str = r#"
impl fmt::Formatter<'_> {
    pub fn write_str(&mut self, text: &str) -> fmt::Result {
        loop {}
    }
}
#[rustc_builtin_macro]
#[macro_export]
macro_rules! compile_error {
    ($message:expr $(,)?) => {};
}
#[rustc_builtin_macro]
#[macro_export]
macro_rules! module_path {
    () => {};
}
#[rustc_builtin_macro]
#[macro_export]
macro_rules! stringify {
    ($($token:tt)*) => {};
}
#[rustc_builtin_macro]
#[macro_export]
macro_rules! include_str {
    ($file:expr $(,)?) => {};
}
"#;

const ALLOC: &str = "\
#![no_std]
pub mod boxed {
    #[lang = \"owned_box\"]
    pub struct Box<T: ?Sized>(*const T);
}
pub mod string {
    #[lang = \"String\"]
    pub struct String;
    impl From<&str> for String {
        fn from(text: &str) -> Self {
            loop {}
        }
    }
}
pub mod vec {
    pub struct Vec<T>(*const T);
}
";

const STD: &str = "\
#![no_std]
pub use alloc::{boxed, string, vec};
pub use core::*;
pub mod prelude {
    pub mod v1 {
        pub use alloc::{boxed::Box, string::String, vec::Vec};
        pub use core::prelude::v1::*;
        pub use core::{compile_error, concat, include_str, module_path, stringify};
    }
    pub mod rust_2018 {
        pub use super::v1::*;
    }
    pub mod rust_2021 {
        pub use super::v1::*;
    }
    pub mod rust_2024 {
        pub use super::v1::*;
    }
}
";

/// Writes the sources into a folder.
pub fn write(folder: &Path) -> Answer<()> {
    let all = MiniCore::available_flags(MiniCore::RAW_SOURCE);
    let now = MiniCore::from_flags(all.filter(|flag| !flag.contains("before")));
    let core = now.source_code(MiniCore::RAW_SOURCE);
    for (name, source) in [
        ("core", format!("{core}{MORE}")),
        ("alloc", ALLOC.to_owned()),
        ("std", STD.to_owned()),
    ] {
        let folder = folder.join(name).join("src");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("lib.rs"), source)?;
    }
    Ok(())
}
