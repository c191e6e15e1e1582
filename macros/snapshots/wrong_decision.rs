// no_migration!(OrderV1, because = "never deployed");

const _: () = {
    use OrderV1 as _;
    ::core::compile_error! {
        "unknown key `because`, did you mean `reason`? The only key is `reason`"
    }
};
