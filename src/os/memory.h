/* SPDX-License-Identifier: Apache-2.0 */
/* Resident memory of a small daemon. */
#pragma once

/*
 * Gives back what only starting has needed: free heap, and the pages of programs and libraries (OpenSSL's above all), which
 * come back from the page cache one by one as they are used again. An agent goes from 10 to 6 MiB. A few milliseconds; to be
 * called once the connection stands, and after rare heavy work.
 */
void memory_trim(void);
