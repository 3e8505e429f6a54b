ui = true
storage "raft" {
  path = "/data"
  retry_join { leader_api_addr = "https://n2:8200" }
}
listener "tcp" {
  address = "0.0.0.0:8200", tls_disable = "true"
}
audit "file" "to-file" { options { file_path = "/x" } }
max_lease_ttl = 0x10
