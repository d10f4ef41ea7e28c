"""Which files a volume of configuration holds: of a ConfigMap, a Secret, the downward API, a token, or several at once.

Pure: what the sources hold is given. Writing the files is ``node/volumes``.
Source: kubernetes pkg/volume/{configmap,secret,downwardapi,projected}.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from testbed.api.core_v1 import ConfigMapVolumeSource, DownwardVolumeSource, KeyToPath, Pod, Volume, VolumeProjection
from testbed.core.environment import MissingConfig, Sources, field_value, resource_value, secret_value

Files = dict[str, tuple[bytes, int]]  # path inside the volume: content, mode


def is_projection(volume: Volume) -> bool:
    """Whether it is made of configuration, and so read-only and brought up to date in place."""
    return any(source is not None for source in (
        volume.config_map, volume.secret, volume.downward_api, volume.projected))


def volume_files(pod: Pod, volume: Volume, sources: Sources) -> Files:
    """Raises: MissingConfig when a source is missing that is not optional."""
    if volume.config_map is not None:
        return _config_map(volume.config_map, volume.config_map.default_mode, sources)
    if volume.secret is not None:
        secret = volume.secret
        return _secret(secret.secret_name, secret.items, secret.default_mode, secret.optional, sources)
    if volume.downward_api is not None:
        return _downward(pod, volume.downward_api, volume.downward_api.default_mode, sources)
    if volume.projected is not None:
        files: Files = {}
        for source in volume.projected.sources:  # of two that name one path the later one stands
            files |= _projected(pod, source, volume.projected.default_mode, sources)
        return files
    raise MissingConfig(f'volume "{volume.name}" is of a kind that nodes here do not have')


def tokens_wanted(pod: Pod) -> tuple[tuple[str, int], ...]:
    """(audience, lifetime in seconds) of each service account token that its volumes hold."""
    found = {
        (source.service_account_token.audience, source.service_account_token.expiration_seconds): None
        for volume in pod.spec.volumes if volume.projected is not None
        for source in volume.projected.sources if source.service_account_token is not None
    }
    return tuple(found)


def _projected(pod: Pod, source: VolumeProjection, mode: int, sources: Sources) -> Files:
    if source.config_map is not None:
        return _config_map(source.config_map, mode, sources)
    if source.secret is not None:
        return _secret(source.secret.name, source.secret.items, mode, source.secret.optional, sources)
    if source.downward_api is not None:
        return _downward(pod, source.downward_api, mode, sources)
    if source.service_account_token is not None:
        wanted = source.service_account_token
        token = sources.token(wanted.audience, wanted.expiration_seconds)
        if not token:
            raise MissingConfig(f'failed to fetch token: serviceaccount "{pod.spec.service_account_name}" has none yet')
        return {wanted.path: (token.encode(), mode)}
    return {}


def _config_map(wanted: ConfigMapVolumeSource, mode: int, sources: Sources) -> Files:
    config = sources.config_map(wanted.name)
    if config is None and not wanted.optional:
        raise MissingConfig(f'configmap "{wanted.name}" not found')
    data = {key: value.encode() for key, value in (config.data if config else {}).items()}
    binary = {key: base64.b64decode(value) for key, value in (config.binary_data if config else {}).items()}
    return _selected(data | binary, wanted.items, mode, wanted.optional, "configmap", wanted.name)


def _secret(name: str, items: tuple[KeyToPath, ...], mode: int, optional: bool, sources: Sources) -> Files:
    secret = sources.secret(name)
    if secret is None and not optional:
        raise MissingConfig(f'secret "{name}" not found')
    data = {key: secret_value(value) for key, value in (secret.data if secret else {}).items()}
    return _selected(data, items, mode, optional, "secret", name)


def _downward(pod: Pod, wanted: DownwardVolumeSource, mode: int, sources: Sources) -> Files:
    files: Files = {}
    for item in wanted.items:
        if item.field_ref is not None:
            text = field_value(pod, item.field_ref, sources)
        elif item.resource_field_ref is not None:
            text = resource_value(pod, None, item.resource_field_ref, sources)
        else:
            continue
        files[item.path] = (text.encode(), mode if item.mode is None else item.mode)
    return files


def _selected(
    data: Mapping[str, bytes], items: tuple[KeyToPath, ...], mode: int, optional: bool, kind: str, name: str
) -> Files:
    if not items:
        return {key: (value, mode) for key, value in data.items()}
    files: Files = {}
    for item in items:
        if item.key in data:
            files[item.path] = (data[item.key], mode if item.mode is None else item.mode)
        elif not optional:
            raise MissingConfig(f'{kind} "{name}" references non-existent key: {item.key}')
    return files
