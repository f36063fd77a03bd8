# frozen_string_literal: true

RSpec.describe "Transfer.backbones", :end_to_end do
  it "lists backbones by criteria, the most relevant first" do
    found = Transfer.backbones(task: :image_classification, max_parameters: 5e6, license: "apache-2.0", source: :timm)
    expect(found.size).to be > 30
    expect(found.map(&:parameters).max).to be <= 5e6
    expect(found.map(&:license).uniq).to eq(["Apache-2.0"])
    expect(found.map(&:name)).to all(start_with("timm/"))
    above = found.filter_map { |backbone| backbone[:relevance] }
    expect(above).to eq(above.sort.reverse)
  end

  it "includes the origin of the facts" do
    lite0 = Transfer.backbones(source: :timm).find { |backbone| backbone.name == "timm/tf_efficientnet_lite0" }
    expect(lite0.to_h).to include(
      metric: "ImageNet-1K top-1", metric_value: 74.846, arxiv: "1905.11946", trained_on: "ImageNet-1K",
      weights_url: "https://huggingface.co/timm/tf_efficientnet_lite0.in1k", images_per_second: nil
    )
    expect(lite0.to_h[:metric_source]).to end_with("results/results-imagenet.csv")
    expect(lite0.inspect).to eq(
      "#<Transfer::Backbone timm/tf_efficientnet_lite0: 4.7M parameters, ImageNet-1K top-1 74.846>"
    )
  end

  it "lists encoders of texts" do
    texts = Transfer.backbones(task: "text-classification")
    expect(texts.map { |backbone| backbone[:modality] }.uniq).to eq(["text"])
    expect(texts.first[:trained_for]).to eq("sentence embeddings")
  end

  it "requests details when they are needed" do
    listed = Transfer.backbones(source: :torchvision).find { |backbone| backbone.name == "resnet18" }
    expect(listed.to_h).not_to have_key(:blocks)
    expect(listed.blocks).to eq(Transfer.backbone("resnet18").blocks)
    expect(listed.weights.first).to include(name: "IMAGENET1K_V1", license: "BSD-3-Clause")
    expect(Transfer.backbone("resnet18").license).to eq("BSD-3-Clause")
  end

  it "suggests the nearest name for an unknown one" do
    expect { Transfer.backbones(task: :image_clasification) }
      .to raise_error(Transfer::RecipeError, /unknown task ".*", did you mean "image_classification"\?/)
    expect { Transfer.backbones(source: :tim) }.to raise_error(Transfer::RecipeError, /did you mean "timm"\?/)
  end
end
