// no_migration!(OrderV1, because = "never deployed");

const _: () = {
    type __StateMigration0 = OrderV1;
    ::core::compile_error! {
        "unknown key `because`, perhaps `reason`: the only key is `reason`"
    }
};
