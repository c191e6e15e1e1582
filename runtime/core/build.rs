//! Nothing is built. Cargo demands a build script of a package with the key `links`, which
//! makes it refuse two versions of the package in one program.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
