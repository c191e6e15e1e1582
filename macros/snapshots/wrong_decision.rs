// no_migration!(OrderV1, because = "never deployed");

::core::compile_error! {
    "unknown key `because`, perhaps `reason`: the only key is `reason`"
}
