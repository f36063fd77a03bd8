# frozen_string_literal: true

require "fileutils"
require "open3"
require "tmpdir"
require_relative "../examples/pictures"

# Every example is run as its first comment says, with little data.
RSpec.describe "examples" do
  def example(name, *arguments)
    root = File.expand_path("..", __dir__)
    out, err, status = Open3.capture3(RbConfig.ruby, "-W", "-I", "gem/lib", "examples/#{name}", *arguments, chdir: root)
    expect(status).to be_success, err
    out
  end

  it "photos.rb trains on a folder" do
    expect(example("photos.rb")).to match(
      /\Aaccuracy on photos it never saw: [01]\.\d+\ncross is seen as cross \(.*\)\n\z/
    )
  end

  it "ten_classes.rb trains one layer for ten classes with Adam" do
    out = example("ten_classes.rb", "20")
    expect(out.scan(/^epoch (\d)/).flatten).to eq(%w[1 2 3 4 5])
    accuracy, baseline = out.match(/^accuracy (\S+), guessing gives (\S+)$/).captures.map(&:to_f)
    expect(accuracy).to be > 3 * baseline
    expect(out.lines.last(3)).to match([/\A3-.*png is a \d$/, /\A5-.*png is a \d$/, /\A8-.*png is a \d$/])
  end

  it "manifest.rb trains from a table" do
    expect(example("manifest.rb")).to match(
      /\Aclasses: cross, disc\naccuracy on the rows whose part is test: [01]\.\d+\n\z/
    )
  end

  it "regression.rb predicts a number" do
    out = example("regression.rb")
    error, radius = out.match(/off by (\S+) pixels.*\n.*is seen as (\S+)$/).captures.map(&:to_f)
    expect(error).to be < 5
    expect(radius).to be_within(6).of(20)
  end

  it "sentiment.rb tells pleased texts from angry ones" do
    out = example("sentiment.rb", "300")
    of_model, of_words = out.match(/^\d+ held-out texts: macro-F1 (\S+), from words alone (\S+)$/).captures.map(&:to_f)
    expect([of_model, of_words]).to all(be_between(0, 1))
    expect(out.lines.last(2)).to match([/\A(positive|negative|neutral) \(0\.\d\d\): Thank you/,
                                        /\A(positive|negative|neutral) \(0\.\d\d\): Three hours late/])
  end

  it "table.rb predicts from rows of numbers and words" do
    out = example("table.rb")
    share, *prices = out.match(/explains (\d+) %.*: (\d+)\n.*: (\d+)\n.*: (\d+)\n\z/m).captures.map(&:to_i)
    expect(share).to be > 70
    expect(prices.first).to be_within(60).of(387)
    expect(prices).to all(be_between(30, 650))
  end

  it "quickstart.rb tells what it did in at most 80 columns" do
    Dir.mktmpdir do |folder|
      %i[disc square cross].each do |shape|
        FileUtils.mkdir_p("#{folder}/photos/#{shape}")
        15.times do |i|
          Pictures.shape("#{folder}/photos/#{shape}/#{i}.png", shape, radius: 20.0, random: Random.new(i))
        end
      end
      FileUtils.mkdir_p("#{folder}/unseen")
      Pictures.shape("#{folder}/unseen/disc-new.png", :disc, radius: 20.0, random: Random.new(99))

      out = example("quickstart.rb", folder)
      expect(out).to include("45 pictures in 3 classes", "always saying", "#{folder}/quickstart.transfer")
      expect(out).to match(/^  disc-new.png +disc [01]\.\d\d, /)
      expect(out.lines(chomp: true).map(&:size).max).to be <= 80
    end
  end
end
