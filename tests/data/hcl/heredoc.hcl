a = <<EOF
one
 two
EOF
b = <<-END
    one
      two
    END
c = [<<X
x
X
, 1]
