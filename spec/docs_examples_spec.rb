# frozen_string_literal: true

# The code in README.md and docs/ is valid and names only what exists.
RSpec.describe "The examples in the documentation" do
  root = File.expand_path("..", __dir__)
  pages = ["#{root}/README.md", *Dir["#{root}/docs/**/*.md"]].to_h do |path|
    [path.delete_prefix("#{root}/"), File.read(path)]
  end

  # Name of the page => the fenced blocks of this language.
  blocks = lambda do |language|
    pages.transform_values { |text| text.scan(/^```#{language}\n(.*?)^```/m).flatten }
  end

  def missing(code_by_page, pattern, &)
    code_by_page.flat_map do |page, code|
      code.join.scan(pattern).flatten.uniq.reject(&).map { |name| "#{page}: #{name}" }
    end
  end

  it "compiles as Ruby" do
    found = blocks.call("ruby").values.flatten
    expect(found.size).to be > 60
    found.each { |code| expect { RubyVM::InstructionSequence.compile(code) }.not_to raise_error, code }
  end

  it "calls methods of Transfer, of its configuration and classes that exist" do
    ruby = blocks.call("ruby")
    # Those that exist where Rails is loaded are used in spec/rails.
    with_rails = %w[transfer Engine Rails TrainJob]
    setting = ->(name) { Transfer::Configuration.new({}).respond_to?(name) || with_rails.include?(name) }
    constant = ->(name) { Transfer.const_defined?(name) || with_rails.include?(name) }
    expect(missing(ruby, /\bTransfer\.([a-z_]+[?!]?)/) { |name| Transfer.respond_to?(name) }).to eq([])
    expect(missing(ruby, /\bconfig\.([a-z_]+)(?: =|\b)/, &setting)).to eq([])
    expect(missing(ruby, /\bTransfer::([A-Z]\w+)/, &constant)).to eq([])
  end

  it "uses commands that docs/reference/cli.md describes" do
    commands = pages.fetch("docs/reference/cli.md").scan(/^### transfer (.+)$/).flatten
    lines = blocks.call("(?:console|sh|bash)")
    used = /^(?:\$ )?transfer ((?:(?:runs|cache|worker) )?[a-z]+)/
    expect(missing(lines, used) { |name| commands.include?(name) }).to eq([])
  end
end
