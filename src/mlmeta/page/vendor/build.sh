#!/bin/sh
# Makes echarts.js, the part of Apache ECharts that the page of `mlmeta report` needs, from npm's packages.
# With the versions below it comes out the same to the byte; SHA256SUMS says what is expected:
#
#     sh build.sh && sha256sum --check SHA256SUMS
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/entry.js" "$work"
cd "$work"
npm install --no-audit --no-fund --no-package-lock echarts@6.1.0 zrender@6.1.0 tslib@2.3.0 esbuild@0.28.2
node_modules/.bin/esbuild entry.js --bundle --minify --format=iife --global-name=echarts --target=es2020 \
    --legal-comments=none --log-level=warning --outfile=echarts.js \
    --banner:js='/* Apache ECharts 6.1.0, Apache-2.0; zrender 6.1.0, BSD-3-Clause; tslib 2.3.0, 0BSD */'
cp echarts.js node_modules/echarts/LICENSE node_modules/echarts/NOTICE "$here"
cp node_modules/zrender/LICENSE "$here/LICENSE.zrender"
