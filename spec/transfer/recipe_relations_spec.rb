# frozen_string_literal: true

RSpec.describe Transfer::Recipe do
  let(:words) do
    { data: "photos/", distill: { from: "mobilenet_v2", relation: %w[kd rkd], temperature: 4 },
      regularize: { type: "l2_sp", alpha: 0.2 }, reuse: { first: 3 } }
  end

  it "writes relation- and model-based transfer in three spellings" do
    block = described_class.build do
      data "photos/"
      distill from: "mobilenet_v2", relation: %i[kd rkd], temperature: 4
      regularize :l2_sp, alpha: 0.2
      reuse first: 3
    end
    keywords = described_class.build(
      { data: "photos/", distill: { from: "mobilenet_v2", relation: %i[kd rkd], temperature: 4 },
        regularize: [:l2_sp, { alpha: 0.2 }], reuse: { first: 3 } }
    )
    expect(block.to_h).to eq(words)
    expect(keywords).to eq(block)
  end

  it "takes a model as teacher, and a path relative to this process" do
    model = Struct.new(:path).new(Pathname("/models/large.transfer"))
    expect(described_class.build { distill from: model }.words["distill"]).to eq("from" => "/models/large.transfer")
    Dir.mktmpdir do |folder|
      File.write("#{folder}/t.transfer", "")
      wire = Dir.chdir(folder) { described_class.build { distill from: "./t.transfer" }.wire }
      expect(wire["distill"]["from"]).to eq(File.realpath("#{folder}/t.transfer"))
    end
  end

  it "takes the result of map_labels" do
    pair = Transfer::LabelMap::Pair.new("lorry", "car", 0.5, "truck", 0.4, 3)
    map = Transfer::LabelMap.new([pair], %w[car truck])
    expect(described_class.build { map_labels map }.words["map_labels"]).to eq("lorry" => "car")
    corrected = map.with(lorry: :truck)
    expect(corrected.names).to eq("lorry" => "truck")
    expect(corrected.to_s).to eq("lorry -> truck (0.50; truck 0.40)")
    expect { map.with("lory" => "car") }.to raise_error(Transfer::RecipeError, /did you mean "lorry"/)
  end
end
