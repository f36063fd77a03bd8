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
      /\Aaccuracy on held-out photos: [01]\.\d+\ncross is predicted as cross \(.*\)\n\z/
    )
  end

  it "handwriting.rb trains one layer for ten classes with Adam" do
    out = example("handwriting.rb", "20")
    expect(out.scan(/^epoch (\d)/).flatten).to eq(%w[1 2 3 4 5])
    accuracy, baseline = out.match(/^\d+ held-out.*accuracy (\S+)$.*^baseline (\S+)$/m).captures.map(&:to_f)
    expect(accuracy).to be > 3 * baseline
    expect(out.lines.last(3)).to match(%w[3 5 8].map { |digit| /\A#{digit}-.*png: (read as|for the teacher:) \d/ })
  end

  it "traffic_signs.rb recognizes signs" do
    out = example("traffic_signs.rb", "6")
    accuracy, baseline = out.match(/^46 signs.*^accuracy (\S+) .*^baseline (\S+)$/m).captures.map(&:to_f)
    expect(accuracy).to be > 10 * baseline
    expect(out.lines.last(3)).to match(%w[cattle give_way no_cycles].map { |sign| /^#{sign}: \w+ \([01]\.\d\d\)/ })
  end

  it "medicine.rb refers most malignant tumours and few benign ones" do
    out = example("medicine.rb")
    expect(out[/^114 held-out patients: accuracy (\S+)/, 1].to_f).to be > 0.9
    found, sick, alarms, healthy = out.match(/(\d+) of (\d+) malignant, (\d+) of (\d+) benign/).captures.map(&:to_i)
    expect([sick, healthy]).to eq([42, 72])
    expect(found).to be >= 37
    expect(alarms).to be <= 15
    expect(out[/diagnosis for (\d+) of 114/, 1].to_i).to be_between(100, 114)
  end

  it "housing.rb beats the mean price and the price a year ago on later years" do
    out = example("housing.rb")
    expect(out).to start_with("7986 rows, 1355 with missing cells\n868 held-out rows")
    error, baseline = out.match(/error (\d+) dollars.*?^baseline[^:]*: (\d+) dollars/m).captures.map(&:to_i)
    expect(error).to be < 15_223 # dollars by which the prices of 2014 and 2015 differ from those of a year ago
    expect(baseline).to eq(46_126)
  end

  it "manifest.rb trains from a table" do
    expect(example("manifest.rb")).to match(
      /\Aclasses: cross, disc\naccuracy on the rows whose part is test: [01]\.\d+\n\z/
    )
  end

  it "regression.rb predicts a number" do
    out = example("regression.rb")
    error, radius = out.match(/off by (\S+) pixels.*\n.*is predicted as (\S+)$/).captures.map(&:to_f)
    expect(error).to be < 5
    expect(radius).to be_within(6).of(20)
  end

  it "sentiment.rb sorts texts by sentiment" do
    out = example("sentiment.rb", "300")
    scores = out.match(/^\d+ held-out texts: macro-F1 (\S+), TF-IDF with logistic regression (\S+)$/).captures
    expect(scores.map(&:to_f)).to all(be_between(0, 1))
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

  it "quickstart.rb reports in at most 80 columns" do
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
      expect(out).to include("45 pictures in 3 classes", "baseline (always", "#{folder}/quickstart.transfer")
      expect(out).to match(/^  disc-new.png +disc [01]\.\d\d, /)
      expect(out.lines(chomp: true).map(&:size).max).to be <= 80
    end
  end
end
