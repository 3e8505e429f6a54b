# One node on its own, on a file store: a small installation, or a first try with TLS.
# Initialise it with `coffer operator init`, then give the shares with `coffer operator unseal`.
ui           = true
cluster_name = "single"
api_addr     = "https://coffer.example.com:8200"

storage "file" {
  path = "/var/lib/coffer"
}

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/coffer/tls/node.pem"
  tls_key_file  = "/etc/coffer/tls/node.key"
}
