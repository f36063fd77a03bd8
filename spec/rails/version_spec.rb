# frozen_string_literal: true

require_relative "helper"

RSpec.describe "Versions" do
  before { reset }
  after { reset }

  let(:model) { Transfer::Rails.model("photos_kind") }

  def version(losses)
    held_out = losses.each_with_index.map do |loss, i|
      right = loss.zero?
      { "example" => i, "label" => "a", "predicted" => right ? "a" : "b", "score" => right ? 0.9 : 0.6, "loss" => loss }
    end
    model.versions.create!(number: model.versions.count + 1, sha256: "0" * 64, held_out:, summary: {})
  end

  # Agresti & Min (2005), written for the counts of a 2 x 2 table.
  def agresti_min(better, worse, count)
    b = better + 0.5
    c = worse + 0.5
    n = count + 2.0
    difference = (c - b) / n
    half = 1.96 / n * Math.sqrt(b + c - (((c - b)**2) / n))
    [difference - half, difference + half]
  end

  it "are compared on the same examples with a paired interval" do
    old = version(([1.0] * 12) + ([0.0] * 88))
    new = version(([0.0] * 9) + ([1.0] * 3) + ([0.0] * 83) + ([1.0] * 5))
    result = new.compare(old)
    expect([result.low, result.high]).to match(agresti_min(9, 5, 100).map { |value| be_within(1e-9).of(value) })
    expect(result).to have_attributes(difference: be_within(1e-9).of(-0.04), count: 100, worse?: false, better?: false)
    expect(new.compare(new)).to have_attributes(difference: 0.0, worse?: false)
    expect(version([]).compare(old).worse?).to be(false)
  end

  it "are promoted unless they are worse beyond chance, and rolled back" do
    allow(Transfer::Rails::VersionFiles).to receive(:fetch)
    good = version([0.0] * 50)
    bad = version(([1.0] * 20) + ([0.0] * 30))
    expect { model.roll_back! }.to raise_error(Transfer::Rails::NotPromoted, /no previous version/)
    model.promote!(good)
    expect { model.promote!(bad) }
      .to raise_error(Transfer::Rails::NotPromoted, /photos_kind 2 is worse: error \+40.0 points/)
    expect(model.reload.live_version).to eq(good)
    model.promote!(bad, force: true)
    expect(model.roll_back!).to eq(good)
    expect(model.reload.previous_version).to eq(bad)
  end

  it "measure what a threshold accepts" do
    expect(version([0.0, 0.0, 0.0, 1.0]).at(0.8)).to eq(coverage: 0.75, accuracy: 1.0)
    expect(version([]).at(0.8)).to eq(coverage: 0.0, accuracy: nil)
  end

  it "don't serve a file that is not the published one" do
    wrong = version([])
    wrong.file.attach(io: StringIO.new("other"), filename: "x.transfer")
    expect { wrong.load }.to raise_error(Transfer::ModelFileError, /its SHA-256 differs/)
    expect { model.promote!(wrong) }.to raise_error(Transfer::ModelFileError)
    expect(model.reload.live_version).to be_nil
  end
end
