// What a program does with the Go API client, call by call, against the node at COFFER_TEST_ADDR.
// Prints one line a check and ends with "N passed, N failed".
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/openbao/openbao/api/v2"
)

var passed, failed int

func check(name string, run func() error) {
	defer func() {
		if r := recover(); r != nil {
			failed++
			fmt.Printf("FAIL go: %s: panic: %v\n", name, r)
		}
	}()
	if err := run(); err != nil {
		failed++
		fmt.Printf("FAIL go: %s: %v\n", name, err)
		return
	}
	passed++
	fmt.Printf("pass go: %s\n", name)
}

func equal(got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}

func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func client(addr, token string) *api.Client {
	config := api.DefaultConfig()
	config.Address = addr
	config.MinRetryWait, config.MaxRetryWait = 10*time.Millisecond, 50*time.Millisecond
	c, err := api.NewClient(config)
	if err != nil {
		panic(err)
	}
	c.SetToken(token)
	return c
}

var (
	addr = os.Getenv("COFFER_TEST_ADDR")
	root = os.Getenv("COFFER_TEST_TOKEN")
	ctx  = context.Background()
)

func logins(c *api.Client) {
	check("userpass: enable, user, login", func() error {
		if err := c.Sys().EnableAuthWithOptions("go-up", &api.EnableAuthOptions{Type: "userpass"}); err != nil {
			return err
		}
		if _, err := c.Logical().Write("auth/go-up/users/ann", map[string]any{"password": "pw", "token_ttl": "2s",
			"token_max_ttl": "1h", "token_policies": "default"}); err != nil {
			return err
		}
		secret, err := c.Logical().Write("auth/go-up/login/ann", map[string]any{"password": "pw"})
		if err != nil {
			return err
		}
		ttl, err := secret.TokenTTL()
		return all(err, equal(ttl, 2*time.Second), equal(secret.Auth.Metadata["username"], "ann"))
	})
	check("approle: role, secret id, login", func() error {
		if err := c.Sys().EnableAuthWithOptions("go-ar", &api.EnableAuthOptions{Type: "approle"}); err != nil {
			return err
		}
		if _, err := c.Logical().Write("auth/go-ar/role/web", map[string]any{"token_policies": "default"}); err != nil {
			return err
		}
		id, err := c.Logical().Read("auth/go-ar/role/web/role-id")
		if err != nil {
			return err
		}
		secret, err := c.Logical().Write("auth/go-ar/role/web/secret-id", nil)
		if err != nil {
			return err
		}
		in, err := c.Logical().Write("auth/go-ar/login", map[string]any{
			"role_id": id.Data["role_id"], "secret_id": secret.Data["secret_id"]})
		if err != nil {
			return err
		}
		self, err := client(addr, in.Auth.ClientToken).Auth().Token().LookupSelf()
		if err != nil {
			return err
		}
		return equal(self.Data["path"], "auth/go-ar/login")
	})
	check("tokens: create, look up, renew, revoke", func() error {
		made, err := c.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "1h"})
		if err != nil {
			return err
		}
		own := client(addr, made.Auth.ClientToken)
		renewed, err := own.Auth().Token().RenewSelf(1800)
		if err != nil {
			return err
		}
		if err := all(equal(renewed.Auth.LeaseDuration, 1800), own.Auth().Token().RevokeSelf("")); err != nil {
			return err
		}
		_, err = own.Auth().Token().LookupSelf()
		if answer, ok := err.(*api.ResponseError); !ok || answer.StatusCode != 403 {
			return fmt.Errorf("403 expected, got %v", err)
		}
		return nil
	})
}

func keyValue(c *api.Client) {
	if err := c.Sys().Mount("go-kv", &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}); err != nil {
		check("mount", func() error { return err })
		return
	}
	kv := c.KVv2("go-kv")
	check("kv v2: put, get, versions, check-and-set, patch", func() error {
		one, err := kv.Put(ctx, "a/b", map[string]any{"v": "1"})
		if err != nil {
			return err
		}
		_, err = kv.Put(ctx, "a/b", map[string]any{"v": "2"}, api.WithCheckAndSet(1))
		_, stale := kv.Put(ctx, "a/b", map[string]any{"v": "3"}, api.WithCheckAndSet(1))
		if err != nil || stale == nil {
			return fmt.Errorf("check-and-set: %v, %v", err, stale)
		}
		patched, err := kv.Patch(ctx, "a/b", map[string]any{"more": "x"})
		if err != nil {
			return err
		}
		got, err := kv.Get(ctx, "a/b")
		if err != nil {
			return err
		}
		old, err := kv.GetVersion(ctx, "a/b", 1)
		if err != nil {
			return err
		}
		list, err := kv.GetVersionsAsList(ctx, "a/b")
		return all(err, equal(one.VersionMetadata.Version, 1), equal(patched.VersionMetadata.Version, 3),
			equal(got.Data["v"], "2"), equal(got.Data["more"], "x"), equal(old.Data["v"], "1"), equal(len(list), 3))
	})
	check("kv v2: rollback, delete, undelete, destroy, metadata", func() error {
		back, err := kv.Rollback(ctx, "a/b", 1)
		if err != nil {
			return err
		}
		err = all(equal(back.VersionMetadata.Version, 4), kv.Delete(ctx, "a/b"))
		if err != nil {
			return err
		}
		gone, err := kv.Get(ctx, "a/b")
		if err == nil && (gone == nil || gone.Data != nil) {
			return fmt.Errorf("deleted, yet %v", gone)
		}
		err = all(kv.Undelete(ctx, "a/b", []int{4}), kv.DeleteVersions(ctx, "a/b", []int{2}), kv.Destroy(ctx, "a/b", []int{1}),
			kv.PutMetadata(ctx, "a/b", api.KVMetadataPutInput{MaxVersions: 7, CustomMetadata: map[string]any{"k": "v"}}))
		if err != nil {
			return err
		}
		most := 8
		if err := kv.PatchMetadata(ctx, "a/b", api.KVMetadataPatchInput{MaxVersions: &most}); err != nil {
			return err
		}
		meta, err := kv.GetMetadata(ctx, "a/b")
		if err != nil {
			return err
		}
		return all(equal(meta.MaxVersions, 8), equal(meta.CustomMetadata["k"], "v"), equal(meta.Versions["1"].Destroyed, true),
			kv.DeleteMetadata(ctx, "a/b"))
	})
	check("kv v1: put, get, delete; an absent one is ErrSecretNotFound", func() error {
		if err := c.Sys().Mount("go-kv1", &api.MountInput{Type: "kv"}); err != nil {
			return err
		}
		one := c.KVv1("go-kv1")
		if err := one.Put(ctx, "x", map[string]any{"v": "1"}); err != nil {
			return err
		}
		got, err := one.Get(ctx, "x")
		if err != nil {
			return err
		}
		if err := all(equal(got.Data["v"], "1"), one.Delete(ctx, "x")); err != nil {
			return err
		}
		if _, err := one.Get(ctx, "x"); err == nil {
			return fmt.Errorf("still there")
		}
		return nil
	})
}

func wrapping(c *api.Client) {
	check("wrapping: a wrapped answer, looked up, unwrapped once", func() error {
		wrapper := client(addr, root)
		wrapper.SetWrappingLookupFunc(func(operation, path string) string { return "60s" })
		wrapped, err := wrapper.Logical().Write("auth/token/create", map[string]any{"policies": "default"})
		if err != nil {
			return err
		}
		found, err := c.Logical().Write("sys/wrapping/lookup", map[string]any{"token": wrapped.WrapInfo.Token})
		if err != nil {
			return err
		}
		inner, err := client(addr, wrapped.WrapInfo.Token).Logical().Unwrap("")
		if err != nil {
			return err
		}
		_, again := c.Logical().Unwrap(wrapped.WrapInfo.Token)
		if again == nil {
			return fmt.Errorf("unwrapped twice")
		}
		return all(equal(found.Data["creation_path"], "auth/token/create"),
			equal(inner.Auth.Accessor, wrapped.WrapInfo.WrappedAccessor))
	})
}

func watcher(c *api.Client) {
	check("lifetime watcher: renews a token of two seconds, and ends when it is revoked", func() error {
		in, err := c.Logical().Write("auth/go-up/login/ann", map[string]any{"password": "pw"})
		if err != nil {
			return err
		}
		own := client(addr, in.Auth.ClientToken)
		w, err := own.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: in, Increment: 2})
		if err != nil {
			return err
		}
		go w.Start()
		defer w.Stop()
		for seen, limit := 0, time.After(30*time.Second); seen < 3; {
			select {
			case <-w.RenewCh():
				seen++
			case err := <-w.DoneCh():
				return fmt.Errorf("ended after %d renewals: %v", seen, err)
			case <-limit:
				return fmt.Errorf("%d renewals", seen)
			}
		}
		if err := own.Auth().Token().RevokeSelf(""); err != nil {
			return err
		}
		for limit := time.After(30 * time.Second); ; {
			select {
			case <-w.RenewCh():
			case <-w.DoneCh():
				return nil
			case <-limit:
				return fmt.Errorf("never ended")
			}
		}
	})
}

func namespaces(c *api.Client) {
	check("namespaces: create, the header, isolation", func() error {
		if _, err := c.Logical().Write("sys/namespaces/go-ns", nil); err != nil {
			return err
		}
		inside := client(addr, root)
		inside.SetNamespace("go-ns")
		if err := inside.Sys().Mount("kv", &api.MountInput{Type: "kv"}); err != nil {
			return err
		}
		if err := inside.KVv1("kv").Put(ctx, "x", map[string]any{"v": "1"}); err != nil {
			return err
		}
		by, err := c.Logical().Read("go-ns/kv/x")
		if err != nil {
			return err
		}
		outside, _ := c.Logical().Read("kv/x")
		if outside != nil {
			return fmt.Errorf("seen outside of the namespace")
		}
		_, err = c.Logical().Delete("sys/namespaces/go-ns")
		return all(err, equal(by.Data["v"], "1"))
	})
}

// A proxy that first answers `times` requests with that status, as a node does that lags or changes its role.
func flaky(status int, times int64) (*httptest.Server, *int64) {
	target, err := url.Parse(addr)
	if err != nil {
		panic(err)
	}
	var seen int64
	proxy := httputil.NewSingleHostReverseProxy(target)
	config := api.DefaultConfig() // knows the CA of the node
	proxy.Transport = config.HttpClient.Transport
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if atomic.AddInt64(&seen, 1) <= times {
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{"again"}})
			return
		}
		proxy.ServeHTTP(w, r)
	})), &seen
}

func retries() {
	for _, status := range []int{412, 503} {
		check(fmt.Sprintf("retries on %d, then has coffer's answer", status), func() error {
			server, seen := flaky(status, 2)
			defer server.Close()
			self, err := client(server.URL, root).Auth().Token().LookupSelf()
			if err != nil {
				return err
			}
			return all(equal(self.Data["display_name"], "root"), equal(atomic.LoadInt64(seen), 3))
		})
	}
}

func snapshots(c *api.Client) {
	check("raft snapshot: saved, restored", func() error {
		kv := c.KVv1("go-kv1")
		var taken bytes.Buffer
		if err := all(kv.Put(ctx, "s", map[string]any{"v": "before"}), c.Sys().RaftSnapshot(&taken),
			kv.Put(ctx, "s", map[string]any{"v": "after"})); err != nil {
			return err
		}
		if err := c.Sys().RaftSnapshotRestore(bytes.NewReader(taken.Bytes()), false); err != nil {
			return err
		}
		var last error
		for i := 0; i < 300; i++ {
			got, err := kv.Get(ctx, "s")
			if err == nil && got.Data["v"] == "before" {
				return nil
			}
			last = err
			time.Sleep(100 * time.Millisecond)
		}
		return fmt.Errorf("not restored: %v", last)
	})
}

func main() {
	c := client(addr, root)
	check("seal status, health, leader", func() error {
		seal, err := c.Sys().SealStatus()
		if err != nil {
			return err
		}
		health, err := c.Sys().Health()
		if err != nil {
			return err
		}
		leader, err := c.Sys().Leader()
		if err != nil {
			return err
		}
		return all(equal(seal.Sealed, false), equal(health.Initialized, true), equal(leader.HAEnabled, true))
	})
	logins(c)
	keyValue(c)
	wrapping(c)
	watcher(c)
	namespaces(c)
	retries()
	snapshots(c)
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed != 0 {
		os.Exit(1)
	}
}
