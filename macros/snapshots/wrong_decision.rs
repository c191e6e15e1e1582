// no_migration!(OrderV1, because = "never deployed");

const _: () = {
    use OrderV1 as _;
    ::core::compile_error! {
        "unknown key `because`, perhaps `reason`: the only key is `reason`"
    }
};
