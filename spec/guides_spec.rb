# frozen_string_literal: true

require "open3"
require "tmpdir"
require_relative "../examples/pictures"

RSpec.describe "docs/guides/first_model.md" do
  def draw(folder, random)
    %w[disc cross].each do |shape|
      FileUtils.mkdir_p("#{folder}/photos/#{shape}")
      12.times { |i| Pictures.shape("#{folder}/photos/#{shape}/#{i}.png", shape.to_sym, radius: 20.0, random:) }
    end
    FileUtils.mkdir_p("#{folder}/new")
    %w[new.jpg new/1.jpg new/2.jpg].each { |name| Pictures.shape("#{folder}/#{name}", :disc, radius: 20.0, random:) }
  end

  it "has Ruby examples that run in their order" do
    page = File.read(File.expand_path("../docs/guides/first_model.md", __dir__))
    code = page.scan(/^```ruby\n(.*?)^```/m).join
    library = File.expand_path("../gem/lib", __dir__)
    Dir.mktmpdir do |folder|
      draw(folder, Random.new(0))
      code << "p Transfer.load(model.path).labels"
      output, status = Open3.capture2e(RbConfig.ruby, "-I", library, "-e", code, chdir: folder)
      expect(status).to be_success, output
      expect(output.lines(chomp: true).last(3)).to eq(["disc", "disc", '["cross", "disc"]'])
      expect(Dir.children(folder)).to include("animals.transfer")
    end
  end
end
