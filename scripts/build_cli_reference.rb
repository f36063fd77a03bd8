# frozen_string_literal: true

# Writes the pages of `transfer help` into docs/reference/cli.md: ruby -I gem/lib scripts/build_cli_reference.rb

require "stringio"
require "transfer/cli"

def page(*path)
  $stdout = StringIO.new
  Transfer::CLI.run(["help", *path])
  $stdout.string
ensure
  $stdout = STDOUT
end

# The commands that a page lists, each with its words.
def commands(page) = page[/^Commands\n.*/m].to_s.scan(/^  transfer (\S+(?: \S+)?)  /).flatten.map(&:split)

file = File.expand_path("../docs/reference/cli.md", __dir__)
pages = commands(page).flat_map { |path| [path, *commands(page(*path))] }
                      .map { |path| "### transfer #{path.join(' ')}\n\n```\n#{page(*path)}```\n" }
File.write(file, [File.read(file)[/.*^## Commands\n/m], *pages].join("\n"))
