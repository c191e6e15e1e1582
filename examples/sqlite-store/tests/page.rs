//! The excerpts in `docs/your-own-store.md` are in the files that they name.

use std::path::Path;

#[test]
fn the_excerpts_are_in_the_code() -> Result<(), Box<dyn std::error::Error>> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(package.join("../../docs/your-own-store.md"))?;
    let mut excerpts = 0;
    for block in page.split("```rust\n// ").skip(1) {
        let (file, rest) = block.split_once('\n').ok_or("a block ends early")?;
        let (excerpt, _) = rest.split_once("```").ok_or("a block does not end")?;
        let code = std::fs::read_to_string(package.join(file))?;
        assert!(
            code.contains(excerpt),
            "{file} does not contain:\n{excerpt}"
        );
        excerpts += 1;
    }
    assert_eq!(excerpts, page.matches("```rust").count());
    assert_eq!(excerpts, 4);
    Ok(())
}
