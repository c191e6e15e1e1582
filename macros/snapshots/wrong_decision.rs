// no_migration!(OrderV1, because = "never deployed");

#[allow(deprecated)]
const _: () = {
    use state_migration::__private as __state_migration;
    #[cfg(false)]
    type __StateMigrationVersion = OrderV1;
    #[cfg(false)]
    type __StateMigrationVersion = ();
    use OrderV1 as _;
    ::core::compile_error! {
        "unknown key `because`, did you mean `reason`? The only key is `reason`"
    }
};
