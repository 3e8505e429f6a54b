/* node/storage/treap.c: the shared ordered map of the in-memory backend. */
#include "node/storage/treap.h"

#include <string.h>

#include "node/base/map.h"
#include "node/base/memory.h"

/* ---- items */

struct treap_item *treap_item_new(struct cf_slice key, const struct cf_slice *parts, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += parts[i].size;
    }
    struct treap_item *item = cf_alloc(sizeof(*item) + key.size + size);
    atomic_init(&item->refs, 1);
    item->key_size = (uint32_t)key.size;
    item->value_size = (uint32_t)size;
    if (key.size > 0) { /* an empty "from" of a range */
        memcpy(item->bytes, key.data, key.size);
    }
    uint8_t *to = item->bytes + key.size;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size > 0) {
            memcpy(to, parts[i].data, parts[i].size);
        }
        to += parts[i].size;
    }
    return item;
}

struct treap_item *treap_item_ref(struct treap_item *item)
{
    atomic_fetch_add_explicit(&item->refs, 1, memory_order_relaxed);
    return item;
}

void treap_item_unref(struct treap_item *item)
{
    if (atomic_fetch_sub_explicit(&item->refs, 1, memory_order_acq_rel) == 1) {
        cf_free(item);
    }
}

/* ---- nodes */

struct treap *treap_ref(struct treap *root)
{
    if (root != NULL) {
        atomic_fetch_add_explicit(&root->refs, 1, memory_order_relaxed);
    }
    return root;
}

/* As deep as the tree, which is logarithmic. */
void treap_unref(struct treap *root)
{
    while (root != NULL && atomic_fetch_sub_explicit(&root->refs, 1, memory_order_acq_rel) == 1) {
        struct treap *right = root->right;
        treap_unref(root->left);
        treap_item_unref(root->item);
        cf_free(root);
        root = right;
    }
}

static void count(struct treap *node)
{
    node->bytes = (uint64_t)node->item->key_size + node->item->value_size +
                  (node->left != NULL ? node->left->bytes : 0) +
                  (node->right != NULL ? node->right->bytes : 0);
    node->count = 1 + (node->left != NULL ? node->left->count : 0) +
                  (node->right != NULL ? node->right->count : 0);
}

static struct treap *node_new(struct treap_item *item)
{
    struct treap *node = cf_new(struct treap);
    atomic_init(&node->refs, 1);
    node->priority = (uint32_t)cf_hash(treap_item_key(item));
    node->item = item;
    count(node);
    return node;
}

/* The node itself when nobody else sees it, else a copy; takes over the reference. Children of a
 * copy are then seen twice, so that everything below is copied in turn. */
static struct treap *own(struct treap *node)
{
    if (atomic_load_explicit(&node->refs, memory_order_acquire) == 1) {
        return node;
    }
    struct treap *copy = cf_new(struct treap);
    atomic_init(&copy->refs, 1);
    copy->priority = node->priority;
    copy->left = treap_ref(node->left);
    copy->right = treap_ref(node->right);
    copy->item = treap_item_ref(node->item);
    copy->bytes = node->bytes;
    copy->count = node->count;
    treap_unref(node);
    return copy;
}

static int order(struct cf_slice key, const struct treap *node)
{
    return cf_slice_cmp(key, treap_item_key(node->item));
}

/* Ties are broken by key, so that one set of keys has one shape. */
static bool above(const struct treap *a, const struct treap *b)
{
    return a->priority != b->priority
               ? a->priority > b->priority
               : cf_slice_cmp(treap_item_key(a->item), treap_item_key(b->item)) < 0;
}

/* *left gets the keys below `key`, *right the others. */
static void split(struct treap *node, struct cf_slice key, struct treap **left,
                  struct treap **right)
{
    if (node == NULL) {
        *left = *right = NULL;
        return;
    }
    node = own(node);
    if (order(key, node) <= 0) {
        struct treap *rest;
        split(node->left, key, left, &rest);
        node->left = rest;
        *right = node;
    } else {
        struct treap *rest;
        split(node->right, key, &rest, right);
        node->right = rest;
        *left = node;
    }
    count(node);
}

/* All keys of a are below those of b. */
static struct treap *merge(struct treap *a, struct treap *b)
{
    if (a == NULL || b == NULL) {
        return a == NULL ? b : a;
    }
    struct treap *top;
    if (above(a, b)) {
        top = own(a);
        top->right = merge(top->right, b);
    } else {
        top = own(b);
        top->left = merge(a, top->left);
    }
    count(top);
    return top;
}

static struct treap *replace(struct treap *node, struct treap_item *item)
{
    node = own(node);
    int cmp = order(treap_item_key(item), node);
    if (cmp == 0) {
        treap_item_unref(node->item);
        node->item = item;
    } else if (cmp < 0) {
        node->left = replace(node->left, item);
    } else {
        node->right = replace(node->right, item);
    }
    count(node);
    return node;
}

static struct treap *insert(struct treap *node, struct treap *fresh)
{
    if (node == NULL || above(fresh, node)) {
        split(node, treap_item_key(fresh->item), &fresh->left, &fresh->right);
        count(fresh);
        return fresh;
    }
    node = own(node);
    if (order(treap_item_key(fresh->item), node) < 0) {
        node->left = insert(node->left, fresh);
    } else {
        node->right = insert(node->right, fresh);
    }
    count(node);
    return node;
}

static struct treap *cut(struct treap *node, struct cf_slice key)
{
    node = own(node);
    int cmp = order(key, node);
    if (cmp == 0) {
        struct treap *left = node->left, *right = node->right;
        node->left = node->right = NULL;
        treap_unref(node);
        return merge(left, right);
    }
    if (cmp < 0) {
        node->left = cut(node->left, key);
    } else {
        node->right = cut(node->right, key);
    }
    count(node);
    return node;
}

struct treap_item *treap_find(const struct treap *root, struct cf_slice key)
{
    while (root != NULL) {
        int cmp = order(key, root);
        if (cmp == 0) {
            return root->item;
        }
        root = cmp < 0 ? root->left : root->right;
    }
    return NULL;
}

uint64_t treap_bytes_below(const struct treap *root, struct cf_slice key)
{
    uint64_t bytes = 0;
    while (root != NULL) {
        if (order(key, root) <= 0) {
            root = root->left;
        } else {
            bytes += root->bytes - (root->right != NULL ? root->right->bytes : 0);
            root = root->right;
        }
    }
    return bytes;
}

struct treap *treap_put(struct treap *root, struct treap_item *item)
{
    if (treap_find(root, treap_item_key(item)) != NULL) {
        return replace(root, item);
    }
    return insert(root, node_new(item));
}

struct treap *treap_delete(struct treap *root, struct cf_slice key)
{
    return treap_find(root, key) != NULL ? cut(root, key) : root;
}

struct treap *treap_delete_range(struct treap *root, struct cf_slice from, struct cf_slice to)
{
    struct treap *left, *middle, *right;
    split(root, from, &left, &middle);
    split(middle, to, &middle, &right);
    treap_unref(middle);
    return merge(left, right);
}

/* ---- cursors */

void treap_cursor_done(struct treap_cursor *cursor)
{
    cf_free(cursor->path);
    *cursor = (struct treap_cursor){0};
}

static void push(struct treap_cursor *cursor, const struct treap *node)
{
    if (cursor->depth == cursor->capacity) {
        cursor->capacity = cf_max(64, 2 * cursor->capacity);
        cursor->path = cf_realloc(cursor->path, cursor->capacity * sizeof(*cursor->path));
    }
    cursor->path[cursor->depth++] = node;
}

void treap_seek(struct treap_cursor *cursor, struct cf_slice key)
{
    size_t found = 0;
    cursor->depth = 0;
    for (const struct treap *node = cursor->root; node != NULL;) {
        push(cursor, node);
        if (order(key, node) <= 0) {
            found = cursor->depth;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    cursor->depth = found;
}

void treap_seek_before(struct treap_cursor *cursor, struct cf_slice key)
{
    size_t found = 0;
    cursor->depth = 0;
    for (const struct treap *node = cursor->root; node != NULL;) {
        push(cursor, node);
        if (order(key, node) > 0) {
            found = cursor->depth;
            node = node->right;
        } else {
            node = node->left;
        }
    }
    cursor->depth = found;
}

void treap_seek_end(struct treap_cursor *cursor, bool last)
{
    cursor->depth = 0;
    for (const struct treap *node = cursor->root; node != NULL;
         node = last ? node->right : node->left) {
        push(cursor, node);
    }
}

void treap_step(struct treap_cursor *cursor, bool forward)
{
    const struct treap *node = cursor->path[cursor->depth - 1];
    const struct treap *down = forward ? node->right : node->left;
    if (down != NULL) {
        for (; down != NULL; down = forward ? down->left : down->right) {
            push(cursor, down);
        }
        return;
    }
    /* Up to the first ancestor that we come to from the other side. */
    while (cursor->depth > 1) {
        const struct treap *child = cursor->path[--cursor->depth];
        const struct treap *parent = cursor->path[cursor->depth - 1];
        if ((forward ? parent->left : parent->right) == child) {
            return;
        }
    }
    cursor->depth = 0;
}

const struct treap_item *treap_at(const struct treap_cursor *cursor)
{
    return cursor->depth > 0 ? cursor->path[cursor->depth - 1]->item : NULL;
}
