/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the harness without libFuzzer: over files (a corpus), or --random N [seed]: mutated packets. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static uint64_t state;

static uint32_t
rnd (void)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t) (state >> 32);
}

#ifdef FIP64_FUZZ_BYTES
/* Operations: any bytes will do. */
static size_t
make (uint8_t *p)
{
  size_t len = 8 + 3 * (size_t) (rnd () % 400);
  for (size_t k = 0; k < len; k++)
    p[k] = (uint8_t) rnd ();
  return len;
}
#else
/* Something like a packet: fields that decide about the path taken get likely values. */
static size_t
make (uint8_t *p)
{
  static const uint8_t protos6[] = { 6, 17, 58, 58, 58, 44, 44, 0, 43, 60, 51, 50, 1, 33, 136, 132 };
  static const uint8_t protos4[] = { 6, 17, 17, 1, 1, 1, 2, 44, 58, 33, 136, 132, 50, 47 };
  static const uint8_t types[] = { 0, 1, 2, 3, 4, 5, 8, 11, 12, 128, 129, 133 };
  size_t len = 9 + rnd () % 200;
  if (rnd () % 4 == 0)
    len = 1200 + rnd () % 900;
  for (size_t k = 0; k < len; k++)
    p[k] = rnd () % 3 ? 0 : (uint8_t) rnd ();
  if (rnd () % 4)
    p[1] &= 7;
  uint8_t *ip = p + 8;
  size_t left = len - 8, icmp = 0;
  int v4 = p[1] & 4;
  for (int depth = 0; depth < 2; depth++)
    {
      uint8_t proto = v4 ? protos4[rnd () % sizeof protos4] : protos6[rnd () % sizeof protos6];
      size_t claim = rnd () % 8 ? left : rnd () % 1600;
      if (v4)
	{
	  if (left < 28)
	    break;
	  ip[0] = (uint8_t) (0x45 + (rnd () % 6 ? 0 : rnd () % 11));
	  ip[2] = (uint8_t) (claim >> 8);
	  ip[3] = (uint8_t) claim;
	  ip[6] = (uint8_t) (rnd () % 2 ? 0x40 : rnd () % 3 ? 0 : 0x20);
	  ip[7] = (uint8_t) (rnd () % 4 ? 0 : rnd ());
	  ip[8] = (uint8_t) (2 + rnd () % 60);
	  ip[9] = proto;
	  icmp = 4u * (ip[0] & 15);
	}
      else
	{
	  if (left < 48)
	    break;
	  ip[0] = 0x60;
	  claim -= claim < 40 ? claim : 40;
	  ip[4] = (uint8_t) (claim >> 8);
	  ip[5] = (uint8_t) claim;
	  ip[6] = proto;
	  ip[7] = (uint8_t) (2 + rnd () % 60);
	  icmp = 40;
	  for (int x = 0; x < 4 && icmp + 16 < left && (proto == 0 || proto == 43 || proto == 60 || proto == 44); x++)
	    {
	      uint8_t next = protos6[rnd () % sizeof protos6];
	      ip[icmp] = next;
	      ip[icmp + 1] = rnd () % 3 == 0;
	      icmp += proto == 44 ? 8 : 8u + 8u * ip[icmp + 1];
	      proto = next;
	    }
	}
      if (left < icmp + 16)
	break;
      ip[icmp] = types[rnd () % sizeof types];
      ip[icmp + 1] = (uint8_t) (rnd () % 6);
      if (rnd () % 3 == 0)
	ip[icmp + 4 + (v4 != 0)] = (uint8_t) (v4 ? 32 + rnd () % 8 : 16 + rnd () % 4);
      ip += icmp + 8;
      left -= icmp + 8;
    }
  return len;
}
#endif

int
main (int argc, char **argv)
{
  static uint8_t buf[1 << 17];
  if (argc > 2 && strcmp (argv[1], "--random") == 0)
    {
      state = argc > 3 ? strtoull (argv[3], NULL, 0) | 1 : 88172645463325252u;
      for (unsigned long n = strtoul (argv[2], NULL, 0); n; n--)
	{
	  size_t len = make (buf);
	  LLVMFuzzerTestOneInput (buf, len);
	}
      return 0;
    }
  for (int n = 1; n < argc; n++)
    {
      FILE *f = fopen (argv[n], "rb");
      if (!f)
	{
	  perror (argv[n]);
	  return 1;
	}
      size_t len = fread (buf, 1, sizeof buf, f);
      fclose (f);
      LLVMFuzzerTestOneInput (buf, len);
    }
  return 0;
}
