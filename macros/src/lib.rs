//! placeholder
use proc_macro::TokenStream;
/// x
#[proc_macro_attribute]
pub fn state_migration(_a: TokenStream, i: TokenStream) -> TokenStream {
    i
}
