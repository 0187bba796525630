/** Whether a folder is on a disk that other machines may share, where no lock of this machine can be trusted. */
import { realpath, statfs } from 'node:fs/promises';

/**
 * Types of file systems that other machines may also write to, as statfs(2) numbers them: the types that coreutils'
 * src/stat.c marks "remote", without those that aren't (aufs, overlayfs, pipefs, control file systems), plus 9p and
 * OrangeFS from Linux's headers. FUSE is included because its type doesn't distinguish sshfs from a local disk.
 */
const NETWORK_FILE_SYSTEMS = new Map([
  [0x0000517b, 'SMB'],
  [0x0000564c, 'NCP'],
  [0x00006969, 'NFS'],
  [0x00c36400, 'Ceph'],
  [0x01021997, '9p'],
  [0x01161970, 'GFS2'],
  [0x013111a8, 'IBRIX'],
  [0x0bd00bd0, 'Lustre'],
  [0x19830326, 'BeeGFS'],
  [0x20030528, 'OrangeFS'],
  [0x47504653, 'GPFS'],
  [0x5346414f, 'AFS'],
  [0x61636673, 'ACFS'],
  [0x65735546, 'FUSE'],
  [0x6b414653, 'AFS'],
  [0x73757245, 'Coda'],
  [0x7461636f, 'OCFS2'],
  [0x786f4256, 'a VirtualBox folder'],
  [0x7c7c6673, 'a Parallels folder'],
  [0xa501fcf5, 'VxFS'],
  [0xaad7aaea, 'PanFS'],
  [0xbacbacbc, 'a VMware folder'],
  [0xbeefdead, 'SNFS'],
  [0xfe534d42, 'SMB'],
  [0xff534d42, 'CIFS'],
]);

/** The type of the file system that a folder is on, as statfs(2) numbers it. */
export type FileSystemType = (folder: string) => Promise<number>;

export const fileSystemTypeOf: FileSystemType = async (folder) => (await statfs(folder)).type;

/** The kind of network disk that a folder is on; undefined for a disk of this machine. */
export async function findNetworkDisk(
  folder: string,
  typeOf: FileSystemType,
): Promise<string | undefined> {
  // A drive letter may be mapped to a share; the real path shows that.
  if (process.platform === 'win32' && isNetworkShare(await realpath(folder))) return 'a share';
  // A 32-bit system returns large types as negative numbers.
  return NETWORK_FILE_SYSTEMS.get((await typeOf(folder)) >>> 0);
}

/** Whether a Windows path names a share: `\\server\share` or its long form `\\?\UNC\…`. */
export function isNetworkShare(path: string): boolean {
  return /^[\\/]{2}(?:[^\\/?.]|\?[\\/]UNC[\\/])/i.test(path);
}
