/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive doubly linked list: struct list is both the head and the link inside an element. */
#pragma once

#include "base/mem.h"

struct list {
    struct list *prev, *next;
};

#define LIST_INIT(name) ((struct list){&(name), &(name)})

static inline void list_init(struct list *l) { l->prev = l->next = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline bool list_linked(const struct list *l) { return l->next && l->next != l; }
static inline void list_insert_before(struct list *at, struct list *link) {
    link->prev = at->prev;
    link->next = at;
    at->prev->next = link;
    at->prev = link;
}
static inline void list_append(struct list *head, struct list *link) { list_insert_before(head, link); }
static inline void list_prepend(struct list *head, struct list *link) { list_insert_before(head->next, link); }
static inline void list_remove(struct list *link) {
    if (!link->next)
        return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

#define list_entry(ptr, type, member)  container_of(ptr, type, member)
#define list_first(head, type, member) (list_empty(head) ? NULL : list_entry((head)->next, type, member))
#define list_for_each(it, head, member)                                                                                \
    for (it = list_entry((head)->next, __typeof__(*it), member); &it->member != (head);                                \
         it = list_entry(it->member.next, __typeof__(*it), member))
/* The current element may be removed and freed. */
#define list_for_each_safe(it, tmp, head, member)                                                                      \
    for (it = list_entry((head)->next, __typeof__(*it), member),                                                       \
        tmp = list_entry(it->member.next, __typeof__(*it), member);                                                    \
         &it->member != (head); it = tmp, tmp = list_entry(tmp->member.next, __typeof__(*tmp), member))
