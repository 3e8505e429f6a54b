path "secret/data/*" {
  capabilities = ["create", "read"]
  allowed_parameters = { "a" = ["1", "2*"], "b" = [] }
  min_wrapping_ttl = "10s"
}
# comment
path "sys/+/x" { policy = "deny" }
// other
/* more */ path "{{identity.entity.id}}" {}
